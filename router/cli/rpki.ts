/** `bgp rpki` as text: where ROAs come from, in the layout of its golden file. */
import type { RpkiFileStatus, RpkiServerStatus, RpkiStatus } from '../control/messages.ts';
import { duration, plural, textTable } from './render.ts';

export function rpkiText(r: RpkiStatus): string {
  if (r.servers.length + r.files.length === 0) return 'no source of ROAs is configured (bgp.rpki)\n';
  const lines = [
    `ROAs: ${r.vrps_ipv4} IPv4, ${r.vrps_ipv6} IPv6${r.loading ? ', loading' : ''}; ${plural(r.revalidated, 'route')} revalidated`,
  ];
  const ago = (s: number | undefined): string => (s === undefined ? 'never' : `${duration(s)} ago`);
  if (r.servers.length > 0) {
    const head = ['CACHE', 'PREF', 'STATE', 'ROAS', 'SERIAL', 'AGE', 'EXPIRES', 'LAST ERROR'];
    const row = (s: RpkiServerStatus): string[] => [
      s.uplink === '' ? s.name : `${s.name}%${s.uplink}`,
      String(s.preference),
      s.state,
      String(s.vrps),
      s.serial === undefined ? '-' : String(s.serial),
      s.updated_s === undefined ? 'never' : duration(s.updated_s),
      s.expires_s === undefined ? '-' : duration(s.expires_s),
      s.last_error,
    ];
    lines.push(textTable(head, r.servers.map(row)));
  }
  if (r.files.length > 0) {
    const row = (f: RpkiFileStatus): string[] => [f.name, String(f.vrps), ago(f.read_s), ago(f.age_s), f.last_error];
    lines.push(textTable(['FILE', 'ROAS', 'READ', 'WRITTEN', 'LAST ERROR'], r.files.map(row)));
  }
  lines.push(...r.not_refreshed.map((why) => `not refreshed: ${why}`));
  return `${lines.join('\n')}\n`;
}
