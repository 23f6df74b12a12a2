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

/** Which programs are not there, in the words of `Lab.missing`. @param programs by the names of their packages */
export function notInstalled(programs: Readonly<Record<string, boolean>>): string | undefined {
  const absent = Object.keys(programs).filter((name) => !programs[name]);
  return absent.length === 0 ? undefined : `not installed: ${absent.join(', ')}`;
}

/** What a program under `unshare -n` lacks. */
export const namespaceMissing = process.getuid?.() === 0 ? undefined : 'needs root for a namespace';
