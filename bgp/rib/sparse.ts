/** A list with holes by small numbers, in pieces: setting one far from the others neither fills nor copies anything large. */

const SHIFT = 10;
const MASK = (1 << SHIFT) - 1;

export class SparseList<T> {
  readonly #pieces: (T | undefined)[][] = [];

  get(at: number): T | undefined {
    return this.#pieces[at >>> SHIFT]?.[at & MASK];
  }

  set(at: number, value: T | undefined): void {
    const piece = at >>> SHIFT;
    while (this.#pieces.length <= piece) this.#pieces.push([]);
    let values = this.#pieces[piece]!;
    if (values.length === 0) this.#pieces[piece] = values = new Array<T | undefined>(MASK + 1).fill(undefined);
    values[at & MASK] = value;
  }
}
