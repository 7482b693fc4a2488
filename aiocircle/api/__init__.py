"""The API's operations, models and resources."""
