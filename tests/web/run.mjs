/** `node run.mjs FILE…`: the tests of these files in one process of Node.js, and so in one browser. */
import { pathToFileURL } from "node:url";

for (const file of process.argv.slice(2)) await import(pathToFileURL(file));
