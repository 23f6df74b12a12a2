/** Prints what is wrong with a configuration the way compilers do: place, message, source line, caret. */
import type { Diagnostic, Note } from './model.ts';

/**
 * One paragraph per finding and a closing count, without a trailing newline.
 * `mlshim.yaml:10:34: error: host bits set in 10.0.0.1/8 (did you mean 10.0.0.0/8?)   uplinks.home...`
 */
export function formatDiagnostics(diagnostics: readonly Diagnostic[]): string {
  const out = diagnostics.flatMap(paragraph);
  out.push(summary(diagnostics));
  return out.join('\n');
}

function paragraph(d: Diagnostic): string[] {
  const where = d.path === '' ? '' : `   ${d.path}`;
  const cause = d.cause === undefined ? [] : picture('note', d.cause, '');
  return [...picture(d.severity, d, where), ...cause];
}

function picture(kind: string, n: Note, where: string): string[] {
  const head = printable(`${n.file}:${n.line}:${n.column}: ${kind}: ${n.message}${where}`);
  if (n.source === undefined) return [head];
  const number = String(n.line).padStart(5);
  // Tabs stay tabs in the caret line, so that the caret stands under its text at any tab width.
  const indent = n.source.slice(0, n.column - 1).replace(/[^\t]/g, ' ');
  return [head, `${number} | ${printable(n.source)}`, `${' '.repeat(5)} | ${indent}${'^'.repeat(n.width)}`];
}

/** What a file says must not give orders to the terminal. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\t]/gu, '?');
}

function summary(diagnostics: readonly Diagnostic[]): string {
  const count = (severity: string, word: string): string => {
    const n = diagnostics.filter((d) => d.severity === severity).length;
    return n === 0 ? '' : `${n} ${word}${n === 1 ? '' : 's'}`;
  };
  const parts = [count('error', 'error'), count('warning', 'warning')].filter((p) => p !== '');
  return parts.length === 0 ? 'no errors' : parts.join(', ');
}
