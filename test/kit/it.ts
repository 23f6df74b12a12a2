/** Tests that need a laboratory: one after the other, and where the machine lacks something their names say what. */
import anyTest, { type ExecutionContext, type TestFn } from 'ava';

export interface LabTests<Context> {
  readonly test: TestFn<Context>;
  it(name: string, body: (t: ExecutionContext<Context>) => Promise<void>): void;
}

/** @param missing what the machine lacks, as `Lab.missing` says it */
export function labTests<Context = unknown>(missing: string | undefined): LabTests<Context> {
  const test = anyTest as TestFn<Context>;
  return {
    test,
    it: (name, body) => {
      if (missing === undefined) test.serial(name, body);
      else test.skip(`${name} (${missing})`, body);
    },
  };
}
