// Runs bytecode.py in Pyodide, a CPython of Lambda's version: node bytecode.mjs FOLDER PYODIDE
// Nothing is fetched: Pyodide's files lie in PYODIDE, the standard library among them.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, pyodide] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`).href);
const python = await loadPyodide({ indexURL: pyodide });
python.mountNodeFS("/in", folder);
const script = readFileSync(new URL("bytecode.py", import.meta.url), "utf8");
python.runPython(script.replace("__main__", "not_main"));
console.log(python.runPython('main(Path("/in"))'));
