/** Downloaders that open many connections, over two access lines through the kernel backend. */
import assert from 'node:assert/strict';
import { hostAddresses, LINES } from '../../kit/access-lines.ts';
import { type Download, FarFile, type Net } from '../../kit/downloads.ts';
import { SERVER } from '../../kit/isps.ts';
import type { Case, Trial } from './case.ts';
import { type HostRouter, QUICK } from './host-router.ts';

const SIZE = 16 << 20;
/** Of each line's rate, so that not the emulated processor decides: all of it takes most of a quiet one. */
const SLOW = 1 / 5;
/** Of both lines then, Mbit/s, and the part of it that a downloader has to get. */
const RATES = LINES.reduce((all, { rate }) => all + rate, 0) * SLOW;
const PART = 0.95;
/** A sum is measured six times at most, for 14 s at least. */
const LIMIT_MS = 300_000;
/** What aria2c is held to while lines are cut, so that all is shown before it ends. */
const SLOWLY = '--max-overall-download-limit=1M';

function netOf(host: HostRouter): Net {
  const { trial, router, access } = host;
  return {
    lab: trial.lab,
    router,
    ways: LINES.map((line) => ({
      name: line.name,
      v4: hostAddresses(line).v4,
      shaper: { ns: access.isp(line.name), device: line.device },
    })),
    addresses: [SERVER.v4, ...SERVER.others],
    serve: (command, args) => access.serve(command, args),
    cut: (name, isCut) => access.cut(name, isCut),
    usable: (wanted) => host.usable(wanted),
  };
}

/** @param host is there when a case runs */
export function downloadCases(host: () => HostRouter): readonly Case[] {
  let offered: Promise<FarFile> | undefined;
  const offer = async (): Promise<FarFile> => {
    const file = new FarFile(netOf(host()), SIZE);
    await file.web();
    await file.seed();
    return file;
  };
  const file = (): Promise<FarFile> => {
    offered ??= offer();
    return offered;
  };

  const sum = (name: string, start: (from: FarFile, as: string) => Download) => ({
    name: `sum-${name}`,
    limitMs: LIMIT_MS,
    run: async ({ log }: Trial) => {
      const from = await file();
      await host().access.slow(SLOW);
      const found = await from
        .sum(PART * RATES, log, (as) => start(from, `${name}-${as}`))
        .finally(() => host().access.slow(1));
      assert.ok(found >= PART * RATES, `${found} of ${RATES} Mbit/s`);
    },
  });

  return [
    {
      ...sum('aria2', (from, as) => from.aria2(as)),
      title: 'aria2c -x16 gets the sum of both lines at a fifth of their rates, and the right octets',
    },
    {
      ...sum('transmission', (from, as) => from.transmission(as)),
      title: 'transmission with local peers gets the sum of both lines at a fifth of their rates, and the right octets',
    },
    {
      name: 'download-cut',
      title: 'a download gets no octet wrong while either line is cut, and uses it again when it is back',
      run: async () => {
        host().configure({ probe: QUICK });
        await host().reload();
        const from = await file();
        await from.cutInTurn(from.aria2('cut', 'interrupted', SLOWLY));
        host().configure();
        await host().reload();
      },
    },
  ];
}
