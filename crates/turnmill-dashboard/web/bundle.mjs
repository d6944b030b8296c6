// Bundles vendor.js with esbuild and lists the licences of what is in the bundle.
// Usage: node bundle.mjs FOLDER, in a folder with node_modules.
import { readFileSync, readdirSync, writeFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const into = process.argv[2];
const allowed = new Set(["Apache-2.0", "BSD-3-Clause", "ISC", "MIT"]);

const result = await build({
  entryPoints: ["vendor.js"],
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  legalComments: "none",
  metafile: true,
  write: false,
  banner: { js: "// Made by `scripts/dashboard bundle`. Licences: LICENCES.txt beside this file." },
});

/** Folders of the packages that ended up in the bundle. */
const folders = new Set();
for (const path of Object.keys(result.metafile.inputs)) {
  const found = path.match(/^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/);
  if (found) folders.add(found[0]);
}

const sections = [...folders].sort().map((folder) => {
  const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  if (!allowed.has(about.license)) throw new Error(`${about.name}: licence ${about.license}`);
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
  const text = file ? readFileSync(join(folder, file), "utf8").trim() : "(the package has no text of it)";
  return `${about.name} ${about.version}: ${about.license}\n\n${text}\n`;
});
mkdirSync(into, { recursive: true });
writeFileSync(join(into, "vendor.js"), result.outputFiles[0].contents);
writeFileSync(join(into, "LICENCES.txt"), sections.join(`\n${"-".repeat(72)}\n\n`));
