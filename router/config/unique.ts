/** Things that may stand once in a configuration. */
import type { Path, SourceTree } from './tree.ts';

/** Remembers where a value was first seen and complains about the second time. */
export class Unique<T> {
  readonly #first = new Map<T, Path>();
  readonly #tree: SourceTree;
  readonly #what: string;

  constructor(tree: SourceTree, what: string) {
    this.#tree = tree;
    this.#what = what;
  }

  add(value: T, path: Path, shown = `${this.#what} ${value}`): void {
    const first = this.#first.get(value);
    if (first === undefined) this.#first.set(value, path);
    else this.#tree.report('error', path, `${shown} is already used at ${this.#tree.whereIs(first, path)}`);
  }
}
