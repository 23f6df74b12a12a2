/**
 * Reads YAML 1.2 files into one plain tree and remembers where each value and key stood, so that every later complaint
 * has a file, a line and a column. Resolves the explicit tags `!file`, `!env` and `!include`; there is no text
 * substitution. Does not know what the values mean.
 */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Scalar,
  type YAMLError,
} from 'yaml';
import { systemReason } from '../lib/reason.ts';
import type { Diagnostic, Note, Severity } from './model.ts';

/** Largest file read through any tag: a configuration, not a data set. */
const MAX_FILE_BYTES = 4 << 20;

/** A place in a source file: offsets into its text. */
interface Span {
  readonly source: SourceFile;
  readonly start: number;
  readonly end: number;
  /** The text is a secret or may hold one: never show the source line. */
  readonly secret: boolean;
}

interface SourceFile {
  /** As shown to the user. */
  readonly shown: string;
  readonly path: string;
  readonly text: string;
  readonly lines: LineCounter;
}

/** A value of the file, as `mlshim config show` has it. */
export interface WrittenValue {
  /** `bgp.peers[0].asn` */
  readonly path: string;
  /** `(secret)` where it is one. */
  readonly value: unknown;
  /** `mlshim.yaml:12` */
  readonly place: string;
}

export type Path = readonly (string | number)[];

type Plain = Readonly<Record<string, unknown>>;

/** A part of the tree as a mapping or list; empty when it is none: somebody else says so. */
export const asMap = (v: unknown): Plain =>
  typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Plain) : {};
export const asList = (v: unknown): readonly unknown[] => (Array.isArray(v) ? v : []);

const SECRET_KEYS: ReadonlySet<string> = new Set(['private_key', 'preshared_key', 'password']);

const keyOf = (path: Path): string => path.join('\u0000');

/** The plain tree of a configuration, with positions and the complaints found while reading it. */
export class SourceTree {
  readonly root: unknown;
  readonly diagnostics: Diagnostic[] = [];
  readonly #values = new Map<string, Span>();
  readonly #keys = new Map<string, Span>();
  /** Paths whose value could not be made; what is missing there was already explained. */
  readonly #broken = new Set<string>();
  readonly #open: string[] = [];
  readonly #env: NodeJS.ProcessEnv;

  /**
   * @param shown the file's name in messages
   * @param path where it is, for relative tags
   */
  constructor(shown: string, path: string, text: string, env: NodeJS.ProcessEnv) {
    this.#env = env;
    this.root = this.#document({ shown, path, text, lines: new LineCounter() }, []);
  }

  /** Complain about the value at `path`, or about the nearest parent that was written down. */
  report(severity: Severity, path: Path, message: string, cause?: Note): void {
    if (this.#broken.has(keyOf(path))) return;
    const span = this.#spanAt(path);
    if (span !== undefined) this.#push(severity, span, path, message, cause);
  }

  /** Where the value at `path` is, or the nearest parent that was written down. */
  #spanAt(path: Path): Span | undefined {
    for (let n = path.length; n >= 0; n--) {
      const span = this.#values.get(keyOf(path.slice(0, n)));
      if (span !== undefined) return span;
    }
    return undefined;
  }

  /** Complain about the key at `path` (its name rather than its value). */
  reportKey(severity: Severity, path: Path, message: string): void {
    const span = this.#keys.get(keyOf(path));
    if (span === undefined) this.report(severity, path, message);
    else this.#push(severity, span, path.slice(0, -1), message);
  }

  /** `line 12`, or `peers.d/a.yaml:12` for a complaint in another file: where the value at `path` is. */
  whereIs(path: Path, from: Path): string {
    const span = this.#spanAt(path)!; // the root is written down
    const { line } = span.source.lines.linePos(span.start);
    return span.source === this.#spanAt(from)?.source ? `line ${line}` : `${span.source.shown}:${line}`;
  }

  /** `mlshim.yaml:12`, the file and line of the value at `path`; empty when it was not written down. */
  placeOf(path: Path): string {
    const span = this.#values.get(keyOf(path));
    return span === undefined ? '' : `${span.source.shown}:${span.source.lines.linePos(span.start).line}`;
  }

  /** All that is written down, in order: texts, numbers, and lists of them. */
  values(): WrittenValue[] {
    return this.#valuesIn(this.root, []);
  }

  #valuesIn(value: unknown, path: Path): WrittenValue[] {
    const inside = isBranch(value) ? Object.entries(value) : [];
    if (inside.length > 0)
      return inside.flatMap(([key, v]) => this.#valuesIn(v, [...path, Array.isArray(value) ? Number(key) : key]));
    const shown = SECRET_KEYS.has(String(path.at(-1))) ? '(secret)' : value;
    // What could not be read has its own complaint.
    return value === undefined || path.length === 0
      ? []
      : [{ path: showPath(path), value: shown, place: this.placeOf(path) }];
  }

  #push(severity: Severity, span: Span, path: Path, message: string, cause?: Note): void {
    const at = span.source.lines.linePos(span.start);
    const source = span.source.text.slice(span.source.lines.lineStarts[at.line - 1]!).split('\n', 1)[0]!;
    const room = Math.max(1, source.length - at.col + 1);
    this.diagnostics.push({
      severity,
      file: span.source.shown,
      line: at.line,
      column: at.col,
      width: Math.min(room, Math.max(1, span.end - span.start)),
      message,
      path: showPath(path),
      source: span.secret || holdsSecret(source) ? undefined : source,
      ...(cause !== undefined && { cause }),
    });
  }

  #parse(source: SourceFile, path: Path): Node | undefined {
    const doc = parseDocument(source.text, {
      version: '1.2',
      lineCounter: source.lines,
      prettyErrors: false,
      customTags: ['!file', '!env', '!include'].map((tag) => ({ tag, resolve: (value: string) => value })),
    });
    const warnings = doc.warnings.filter((w) => w.code !== 'TAG_RESOLVE_FAILED'); // #plain knows their place
    // What follows a first syntax error is mostly noise of it.
    const first = doc.errors.find((e) => e.code !== 'DUPLICATE_KEY');
    const errors = doc.errors.filter((e) => e === first || e.code === 'DUPLICATE_KEY');
    for (const fault of [...errors, ...warnings]) this.#syntax(source, fault, path);
    if (doc.errors.length > 0) return undefined;
    if (doc.contents === null)
      this.#push('error', { source, start: 0, end: 1, secret: false }, path, 'the file is empty');
    return doc.contents ?? undefined;
  }

  #document(source: SourceFile, path: Path): unknown {
    const node = this.#parse(source, path);
    return node && this.#plain(source, node, path);
  }

  #syntax(source: SourceFile, fault: YAMLError, path: Path): void {
    const [start, end] = fault.pos;
    this.#push('error', { source, start, end, secret: false }, path, explainYaml(source, fault));
  }

  /** Say why there is no value at `path`; the schema's "is missing" would only repeat it. */
  #fail(span: Span, path: Path, message: string): undefined {
    this.#push('error', span, path, message);
    this.#broken.add(keyOf(path));
  }

  #plain(source: SourceFile, node: Node, path: Path): unknown {
    const secret = SECRET_KEYS.has(String(path.at(-1)));
    const [start, end] = node.range ?? [0, 1];
    const span: Span = { source, start, end, secret };
    this.#values.set(keyOf(path), span);
    if (isAlias(node)) {
      return this.#fail(span, path, 'aliases are not supported: write the value here');
    }
    if (isMap(node)) {
      const address = unquotedAddress(node.items);
      if (address !== undefined) return this.#fail(span, path, quoteAdvice(address));
      const out: Record<string, unknown> = Object.create(null);
      for (const pair of node.items) {
        const key = pair.key as Scalar;
        const name = String(isScalar(key) ? key.value : key);
        const below = [...path, name];
        const [from, to] = key.range ?? [start, end];
        this.#keys.set(keyOf(below), { source, start: from, end: to, secret: false });
        this.#values.set(keyOf(below), { source, start: from, end: to, secret: false });
        out[name] = pair.value === null ? null : this.#plain(source, pair.value as Node, below);
      }
      return { ...out };
    }
    if (isSeq(node)) {
      const out: unknown[] = [];
      for (const item of node.items) out.push(this.#plain(source, item as Node, [...path, out.length]));
      return out;
    }
    const scalar = node as Scalar;
    if (scalar.tag === '!env') return this.#fromEnv(String(scalar.value), span, path);
    if (scalar.tag === '!file') return this.#fromFile(String(scalar.value), span, path);
    if (scalar.tag === '!include') return this.#include(String(scalar.value), span, path);
    if (scalar.tag?.startsWith('!') === true)
      return this.#fail(span, path, `unknown tag ${scalar.tag} (known: !file, !env, !include)`);
    return scalar.value;
  }

  #fromEnv(name: string, span: Span, path: Path): unknown {
    const value = this.#env[name];
    return value ?? this.#fail(span, path, `the environment variable ${name} is not set`);
  }

  #fromFile(name: string, span: Span, path: Path): unknown {
    const file = resolve(dirname(span.source.path), name);
    const text = this.#read(file, span, path);
    if (text === undefined) return undefined;
    if (span.secret && (statSync(file).mode & 0o077) !== 0)
      this.#push('warning', span, path, `other users can read ${name}; chmod 600 ${name}`);
    return text.trim();
  }

  #include(pattern: string, span: Span, path: Path): unknown {
    const folder = dirname(span.source.path);
    const isGlob = /[*?]/.test(pattern);
    const files = isGlob ? expandGlob(folder, pattern) : [resolve(folder, pattern)];
    if (files.length === 0) this.#push('warning', span, path, `no file matches ${pattern}`);
    const list: unknown[] = [];
    for (const file of files) {
      const shown = join(dirname(span.source.shown), relative(folder, file));
      const text = this.#readInside(folder, file, span, path);
      if (text === undefined) return undefined;
      this.#open.push(file);
      const below: SourceFile = { shown, path: file, text, lines: new LineCounter() };
      if (!isGlob) {
        const value = this.#document(below, path);
        this.#open.pop();
        return value;
      }
      this.#append(list, below, path);
      this.#open.pop();
    }
    return list;
  }

  /** Add what one of several included files holds: the items of its list, or its one value. */
  #append(list: unknown[], file: SourceFile, path: Path): void {
    const node = this.#parse(file, path);
    if (node === undefined) return;
    // Items are numbered from the start of the merged list, so that their positions can be found again.
    const items = isSeq(node) ? (node.items as Node[]) : [node];
    for (const item of items) list.push(this.#plain(file, item, [...path, list.length]));
  }

  #readInside(folder: string, file: string, span: Span, path: Path): string | undefined {
    if (this.#open.includes(file)) {
      return this.#fail(span, path, 'includes itself');
    }
    try {
      const real = realpathSync(file);
      if (!real.startsWith(realpathSync(folder) + sep)) {
        return this.#fail(span, path, `${relative(folder, file)} is outside of the folder of ${span.source.shown}`);
      }
    } catch {
      // Reported by #read with the system's reason.
    }
    return this.#read(file, span, path);
  }

  #read(file: string, span: Span, path: Path): string | undefined {
    try {
      const stat = statSync(file);
      if (!stat.isFile() || stat.size > MAX_FILE_BYTES) {
        return this.#fail(span, path, `${file} is not a file of at most ${MAX_FILE_BYTES >> 20} MiB`);
      }
      return readFileSync(file, 'utf8');
    } catch (e) {
      return this.#fail(span, path, `cannot read ${file}: ${systemReason(e)}`);
    }
  }
}

/** A mapping, or a list of more than words and numbers. */
function isBranch(v: unknown): v is object {
  const isObject = (x: unknown): boolean => typeof x === 'object' && x !== null;
  return Array.isArray(v) ? v.some(isObject) : isObject(v);
}

function showPath(path: Path): string {
  return path.map((p, i) => (typeof p === 'number' ? `[${p}]` : i === 0 ? p : `.${p}`)).join('');
}

function holdsSecret(line: string): boolean {
  return /(private_?key|preshared_?key|password)\s*[:=]/i.test(line);
}

function quoteAdvice(address: string): string {
  return `quote the address: "${address}" (YAML reads an unquoted "::" at the end as a key)`;
}

/** `[fd00::]` is read as a mapping of "fd00:" to nothing. */
function unquotedAddress(items: readonly { readonly key: unknown; readonly value: unknown }[]): string | undefined {
  const key = items.length === 1 && isScalar(items[0]!.key) ? String(items[0]!.key.value) : '';
  const value = items[0]?.value;
  const isBare = value === null || value === undefined || (isScalar(value) && value.value === null);
  return isBare && /^[0-9a-fA-F:]*:$/.test(key) ? `${key}:` : undefined;
}

/** YAML's own words, or ours where its words do not help. */
function explainYaml(source: SourceFile, fault: YAMLError): string {
  const line = source.text.slice(0, fault.pos[0]).split('\n').length;
  const text = source.text.split('\n')[line - 1] ?? '';
  // An unquoted address that ends in "::" is read as a key followed by nothing.
  if (/(^|[\s[,:-])([0-9a-fA-F:]*::)\s*([,\]}#]|$)/.test(text)) {
    const found = /([0-9a-fA-F]*(?::[0-9a-fA-F]+)*::)\s*(?:[,\]}#]|$)/.exec(text);
    if (found !== null) return quoteAdvice(found[1]!);
  }
  const lengths = /[\s,:[]([0-9a-fA-F.:]+\/\d+\{\d+,\d+\})/.exec(text);
  if (lengths !== null) return `quote the prefix: "${lengths[1]}" (YAML reads "{" as a mapping here)`;
  if (fault.code === 'DUPLICATE_KEY') return 'this key is here twice';
  return fault.message;
}

/** Files that match a pattern of `*` and `?`, in name order; wildcards do not cross "/" and skip hidden files. */
function expandGlob(folder: string, pattern: string): string[] {
  let found = [folder];
  for (const part of pattern.split('/')) {
    if (part === '' || part === '.') continue;
    if (!/[*?]/.test(part)) {
      found = found.map((f) => join(f, part));
      continue;
    }
    const escaped = part.replace(/[.+^${}()|[\]\\]/g, '\\$&');
    const re = new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`);
    found = found.flatMap((f) =>
      namesIn(f)
        .filter((n) => re.test(n) && !n.startsWith('.'))
        .map((n) => join(f, n)),
    );
  }
  return found.filter((f) => namesIn(dirname(f)).length > 0);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
