// The libraries of the operator's console, from their npm packages: `node .ci/vendor.mjs` writes the files of
// push/web/console/vendor anew, and fails when a package is not byte for byte the one that sources.json pins.
// It needs npm and the network. Nothing of a package is run.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const VENDOR = fileURLToPath(new URL("../push/web/console/vendor/", import.meta.url));
const sources = JSON.parse(readFileSync(join(VENDOR, "sources.json"), "utf8"));
const sha512 = (bytes) => `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
const folder = mkdtempSync(join(tmpdir(), "vendor-"));

try {
  for (const { package: name, version, integrity, files } of sources) {
    const packed = execFileSync("npm", ["pack", `${name}@${version}`, "--silent"], { cwd: folder, encoding: "utf8" });
    const tarball = join(folder, packed.trim());
    if (sha512(readFileSync(tarball)) !== integrity) throw new Error(`${name}@${version} is not the pinned package`);
    for (const [file, { from }] of Object.entries(files)) {
      const bytes = execFileSync("tar", ["xzOf", tarball, `package/${from}`], { maxBuffer: 2 ** 24 });
      if (sha512(bytes) !== files[file].integrity) throw new Error(`${name}@${version}: ${from} is not the pinned file`);
      writeFileSync(join(VENDOR, file), bytes);
      console.log(`${file}: ${name}@${version}, ${bytes.length} bytes`);
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
