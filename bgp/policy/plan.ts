/** What becomes of routes with one set of attributes, once everything that does not depend on the prefix is decided. */

import type { Family } from '../../router/lib/addr.ts';
import type { Attributes } from '../wire/attribute/model.ts';
import type { HopChange, RouteSource } from './rule.ts';

/** The prefix in question (left-aligned words, bgp/wire/nlri.ts) and where the route to it comes from. */
export interface Subject {
  readonly family: Family;
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  readonly length: number;
  readonly source: RouteSource;
  /** Name of the peer it was learned from; undefined for a route of our own. */
  readonly from: string | undefined;
  /** Origin validation state (RoaState); filled in for filters that ask for it (`Filter.asksRoa`). */
  readonly roa: number;
}

export interface Plan {
  /** Undefined = refused. The same plan gives the same object for the same result, unless a function is asked. */
  decide(subject: Subject): Outcome | undefined;
}

/** An accepted route. It is its own plan where the prefix plays no part. */
export class Outcome implements Plan {
  /** The object the plan was made for when nothing was changed. */
  readonly attributes: Attributes;
  readonly nextHop: HopChange | undefined;
  readonly weight: number;
  /** What the caller made of it; at most a few, by a number of the caller's choice. */
  readonly made: unknown[] = [];

  constructor(attributes: Attributes, nextHop: HopChange | undefined, weight: number) {
    this.attributes = attributes;
    this.nextHop = nextHop;
    this.weight = weight;
  }

  decide(_subject: Subject): Outcome | undefined {
    return this;
  }
}

/** Refused whatever the prefix. */
export const REFUSED: Plan = { decide: () => undefined };

/** Goes one of two ways, by the prefix. */
export class Branch implements Plan {
  readonly #test: (subject: Subject) => boolean;
  readonly #then: () => Plan;
  readonly #otherwise: () => Plan;
  #yes: Plan | undefined;
  #no: Plan | undefined;

  /** The two ways are worked out when first taken. */
  constructor(test: (subject: Subject) => boolean, then: () => Plan, otherwise: () => Plan) {
    this.#test = test;
    this.#then = then;
    this.#otherwise = otherwise;
  }

  decide(subject: Subject): Outcome | undefined {
    const way = this.#test(subject) ? (this.#yes ??= this.#then()) : (this.#no ??= this.#otherwise());
    return way.decide(subject);
  }
}
