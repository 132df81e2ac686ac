// StyLua as a library (WebAssembly), for where its program is not installed: `node stylua.mjs --check
// FILE…` names the files that it would change, without --check it changes them. The settings are those of
// stylua.toml beside the files. argv[2] is the folder of the npm package.
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const [folder, ...rest] = process.argv.slice(2)
const stylua = createRequire(`${folder}/`)('@johnnymorganz/stylua')
const check = rest[0] === '--check'
const files = check ? rest.slice(1) : rest

const enums = {
  syntax: stylua.LuaVersion,
  indent_type: stylua.IndentType,
  quote_style: stylua.QuoteStyle,
  collapse_simple_statement: stylua.CollapseSimpleStatement,
}
const settings = [...readFileSync('stylua.toml', 'utf8').matchAll(/^(\w+) = (.+)$/gm)].map(
  ([, name, value]) => {
    const parsed = JSON.parse(value)
    const setting = name in enums ? enums[name][parsed] : parsed
    if (setting === undefined) throw new Error(`stylua.toml: ${name} = ${value} is not known here`)
    return [name, setting]
  },
)
// formatCode takes its settings away from us, so each file gets its own.
const config = () => Object.assign(stylua.Config.new(), Object.fromEntries(settings))

let different = 0
for (const file of files) {
  const text = readFileSync(file, 'utf8')
  const formatted = stylua.formatCode(text, config(), undefined, stylua.OutputVerification.Full)
  if (formatted === text) continue
  different += 1
  if (check) console.error(`${file}: not formatted; run: sh .ci/lua format`)
  else writeFileSync(file, formatted)
}
process.exit(check && different ? 1 : 0)
