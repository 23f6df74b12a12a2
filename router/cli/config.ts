/** `mlshim config check|schema` and `mlshim import`: what can be said about configuration without a daemon. */
import { formatDiagnostics } from '../config/diagnostic.ts';
import { jsonSchema } from '../config/json-schema.ts';
import { checkConfig, findConfig, parseConfig } from '../config/load.ts';
import { quickToYaml } from '../config/quick-to-yaml.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Input } from './command.ts';

export async function check(input: Input): Promise<number> {
  const source = findConfig(input.args[0] ?? (input.options['config'] as string | undefined), input.io.env);
  const { config, diagnostics } = await checkConfig(source, input.io.env);
  if (input.options['json'] === true) input.io.out(`${JSON.stringify({ file: source.shown, diagnostics }, null, 2)}\n`);
  else if (diagnostics.length > 0) input.io.err(`${formatDiagnostics(diagnostics)}\n`);
  else input.io.out(`${source.shown}: no errors\n`);
  return config === undefined ? 78 : 0;
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
