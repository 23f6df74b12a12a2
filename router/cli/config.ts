/** `mlshim config check|show|schema` and `mlshim import`: what can be said about configuration without a daemon. */
import { formatDiagnostics, printable } from '../config/diagnostic.ts';
import { jsonSchema } from '../config/json-schema.ts';
import { checkConfig, findConfig, parseConfig, writtenValues } from '../config/load.ts';
import { quickToYaml } from '../config/quick-to-yaml.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Input } from './command.ts';
import { table } from './render.ts';

export async function check(input: Input): Promise<number> {
  const source = findConfig(input.args[0] ?? (input.options['config'] as string | undefined), input.io.env);
  const { config, diagnostics } = await checkConfig(source, input.io.env);
  if (input.options['json'] === true) input.io.out(`${JSON.stringify({ file: source.shown, diagnostics }, null, 2)}\n`);
  else if (diagnostics.length > 0) input.io.err(`${formatDiagnostics(diagnostics)}\n`);
  else input.io.out(`${source.shown}: no errors\n`);
  return config === undefined ? 78 : 0;
}

/** Every value with the file and line it comes from; what is wrong with them goes to standard error. */
export async function show(input: Input): Promise<number> {
  const source = findConfig(input.args[0] ?? (input.options['config'] as string | undefined), input.io.env);
  const { config, diagnostics } = parseConfig(source, input.io.env);
  const values = writtenValues(source, input.io.env);
  if (values.length === 0 && config !== undefined)
    throw new MlshimError('USAGE', `${source.shown} is a wg-quick file: mlshim import shows it as YAML`);
  const rows = values.map((v) => [v.path, wordsOf(v.value), v.place]);
  if (input.options['json'] === true) input.io.out(`${JSON.stringify({ file: source.shown, values }, null, 2)}\n`);
  else if (rows.length > 0) input.io.out(`${table(rows)}\n`);
  if (diagnostics.length > 0) input.io.err(`${formatDiagnostics(diagnostics)}\n`);
  return config === undefined ? 78 : 0;
}

function wordsOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(wordsOf).join(', ')}]`;
  return typeof value === 'object' && value !== null ? '{}' : printable(String(value));
}

export async function schema(input: Input): Promise<number> {
  input.io.out(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
  return 0;
}

export async function importQuick(input: Input): Promise<number> {
  const file = input.args[0]!;
  const source = findConfig(file, input.io.env);
  const { config, diagnostics } = parseConfig(source, input.io.env);
  if (diagnostics.length > 0) input.io.err(`${formatDiagnostics(diagnostics)}\n`);
  if (config === undefined) return 78;
  if (!source.path.endsWith('.conf') && !/^\s*\[Interface\]/im.test(source.text))
    throw new MlshimError('USAGE', `${file} is not a wg-quick file`);
  input.io.out(quickToYaml(config, input.options['show-keys'] === true));
  return 0;
}
