// express-rate-limit as it is: node express.cjs DIRECTORY_OF_PACKAGES LIMIT WINDOW_SECONDS
// One path per dialect, each with a limit of its own. Prints its port.
const path = require("node:path");
const { createRequire } = require("node:module");

const [directory, limit, seconds] = process.argv.slice(2);
const load = createRequire(path.join(directory, "package.json"));
const express = load("express");
const { rateLimit } = load("express-rate-limit");

const app = express();
for (const dialect of ["draft-6", "draft-7", "draft-8", "legacy"]) {
  const limiter = rateLimit({
    limit: Number(limit),
    windowMs: Number(seconds) * 1000,
    standardHeaders: dialect === "legacy" ? false : dialect,
    legacyHeaders: dialect === "legacy",
  });
  app.get(`/${dialect}`, limiter, (_request, response) => response.json({}));
}
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
