/** `mlshim explain CODE`: what a code in a message means. */
import { ERRORS, type ErrorSpec, MlshimError } from '../lib/errors.ts';
import { nearest } from '../lib/nearest.ts';
import { PROBLEMS, type ProblemSpec } from '../lib/problems.ts';
import type { Input } from './command.ts';

export async function explain(input: Input): Promise<number> {
  const code = input.args[0]!.toUpperCase();
  const problem = (PROBLEMS as Readonly<Record<string, ProblemSpec>>)[code];
  const error = (ERRORS as Readonly<Record<string, ErrorSpec>>)[code];
  const isJson = input.options['json'] === true;
  if (isJson && (problem ?? error) !== undefined) {
    const { title, meaning } = problem ?? {};
    const { exit, errno } = error ?? {};
    const told = { code, title, meaning, exit, errno, hint: (problem ?? error)!.hint };
    input.io.out(`${JSON.stringify(told, null, 2)}\n`);
    return 0;
  }
  if (problem !== undefined) {
    input.io.out(`${code}: ${problem.title}\n\n${problem.meaning}\n${problem.hint}\n`);
    return 0;
  }
  if (error !== undefined) {
    const errno = error.errno === undefined ? '' : ` Applications see ${error.errno}.`;
    input.io.out(`${code}: exit status ${error.exit}.${errno}\n\n${error.hint}\n`);
    return 0;
  }
  const codes = [...Object.keys(PROBLEMS), ...Object.keys(ERRORS)];
  const near = nearest(code, codes);
  throw new MlshimError(
    'USAGE',
    `no code ${code} ${near === undefined ? `(known: ${codes.join(', ')})` : `(did you mean ${near}?)`}`,
  );
}
