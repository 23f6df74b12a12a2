/**
 * Numbered next hops of one FPM session: single ones, groups of them, and who uses which, so that a change of one
 * reaches every route behind it. Numbers are told before they are used and replaced as a whole; a number that is not
 * (yet) known has no way on.
 */
import type { FpmHop, FpmMember, FpmNextHop } from './message.ts';

interface Slot<User> {
  what: FpmNextHop['what'] | undefined;
  /** Groups that have this number as a member. */
  readonly groups: Set<number>;
  readonly users: Set<User>;
}

export class NextHopTable<User> {
  readonly #slots = new Map<number, Slot<User>>();
  #known = 0;

  /** How many numbers have a meaning. */
  get size(): number {
    return this.#known;
  }

  /** Set or (undefined) forget what a number means. @returns the numbers whose way on changed: it and the groups it is in */
  set(id: number, what: FpmNextHop['what'] | undefined): number[] {
    const slot = this.#slot(id);
    this.#known += Number(what !== undefined) - Number(slot.what !== undefined);
    for (const { id: member } of membersOf(slot.what)) {
      this.#slot(member).groups.delete(id);
      this.#drop(member);
    }
    slot.what = what;
    for (const { id: member } of membersOf(what)) this.#slot(member).groups.add(id);
    const changed = [id, ...slot.groups];
    this.#drop(id);
    return changed;
  }

  use(id: number, user: User): void {
    this.#slot(id).users.add(user);
  }

  unuse(id: number, user: User): void {
    this.#slots.get(id)?.users.delete(user);
    this.#drop(id);
  }

  /** Who uses a number; a live set. */
  users(id: number): ReadonlySet<User> {
    return this.#slots.get(id)?.users ?? new Set();
  }

  /** The ways on behind a number; undefined while it, or every member of it, is unknown. Groups hold single ones only. */
  hops(id: number): readonly FpmHop[] | 'blackhole' | undefined {
    const what = this.#slots.get(id)?.what;
    if (!Array.isArray(what)) return what === undefined || what === 'blackhole' ? what : [what as FpmHop];
    const hops: FpmHop[] = [];
    let isBlackhole = false;
    for (const member of what as readonly FpmMember[]) {
      const one = this.#slots.get(member.id)?.what;
      if (one === 'blackhole') isBlackhole = true;
      else if (one !== undefined && !Array.isArray(one)) hops.push({ ...(one as FpmHop), weight: member.weight });
    }
    return hops.length > 0 ? hops : isBlackhole ? 'blackhole' : undefined;
  }

  #slot(id: number): Slot<User> {
    let slot = this.#slots.get(id);
    if (slot === undefined) {
      slot = { what: undefined, groups: new Set(), users: new Set() };
      this.#slots.set(id, slot);
    }
    return slot;
  }

  /** Forget a number nobody speaks of. */
  #drop(id: number): void {
    const slot = this.#slots.get(id);
    if (slot?.what === undefined && slot?.groups.size === 0 && slot.users.size === 0) this.#slots.delete(id);
  }
}

function membersOf(what: FpmNextHop['what'] | undefined): readonly FpmMember[] {
  return Array.isArray(what) ? (what as readonly FpmMember[]) : [];
}
