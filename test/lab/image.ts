/**
 * The guest's disks. The first holds Debian, this machine's Node and the kernel's modules; it depends on those alone, is
 * kept in the cache under a digest of what it was made from, and is opened read-only with writes going to memory of the
 * run. The second holds the checkout's build and is made for each run.
 */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { GUEST_PACKAGES, Packages, run } from './packages.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const INIT = join(ROOT, 'test', 'lab', 'guest', 'init.sh');

/** Parts of the kernel's module tree that the guest gets. */
const MODULE_FOLDERS = ['arch', 'crypto', 'drivers/block', 'drivers/net', 'drivers/virtio', 'fs/fuse', 'lib', 'net'];
/** Documentation, and of docker.io and its dependencies the programs that no container of ours needs: 70 MB. */
const LEFT_OUT = [
  ...['doc', 'man', 'locale', 'info', 'bash-completion'].map((dir) => `usr/share/${dir}/*`),
  ...['containerd-shim', 'containerd-shim-runc-v1', 'ctr', 'dnet'].map((program) => `usr/bin/${program}`),
  'usr/sbin/ovrouter',
];
/** Loaded before there is a root file system, with what they need. */
const DISK_MODULES = ['virtio_pci', 'virtio_blk'];

const PASSWD = `root:x:0:0::/root:/bin/bash
messagebus:x:100:100::/:/bin/false
systemd-resolve:x:101:101::/:/bin/false
systemd-network:x:102:102::/:/bin/false
user:x:1000:1000::/tmp:/bin/bash
nobody:x:65534:65534::/:/bin/false
`;
const GROUP = `root:x:0:
tty:x:5:
messagebus:x:100:
systemd-resolve:x:101:
systemd-network:x:102:
systemd-journal:x:103:
docker:x:104:
user:x:1000:
nogroup:x:65534:
`;

/** Runs the cases once systemd has started what comes before any service of an administrator. */
const CASES_SERVICE = `[Unit]
DefaultDependencies=no
Requires=sysinit.target dbus.service
After=sysinit.target dbus.service
[Service]
Type=oneshot
TimeoutStartSec=infinity
Environment=HOME=/root
WorkingDirectory=/root
ExecStart=/usr/bin/node /mlshim/build/test/lab/guest/main.js
ExecStopPost=/usr/bin/systemctl --no-block poweroff -ff
`;
const CASES_TARGET = `[Unit]
Requires=sysinit.target cases.service
After=sysinit.target
AllowIsolate=yes
`;

export interface Guest {
  /** The kernel's release, such as 6.1.0-56-cloud-amd64. */
  readonly release: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
}

/** Tells what was done and the seconds it took. */
export type Say = (what: string, seconds: number) => void;

/**
 * The guest with a kernel, from the cache when it was built before.
 * @param kernel `stock`, `suite:NAME` (the same server, another suite) or the file of a Debian kernel package
 */
export async function guestImage(cache: string, kernel: string, say: Say): Promise<Guest> {
  mkdirSync(cache, { recursive: true });
  let at = performance.now();
  const step = (what: string): void => {
    say(what, (performance.now() - at) / 1000);
    at = performance.now();
  };
  const own = new Packages(cache);
  const files = await own.guest(GUEST_PACKAGES);
  const suite = /^suite:(.+)$/.exec(kernel)?.[1];
  const kernelFile = kernel.endsWith('.deb') ? kernel : await (suite ? new Packages(cache, suite) : own).kernel();
  step(`${files.length} packages and ${basename(kernelFile)}`);
  const key = createHash('sha256');
  for (const file of [...files, kernelFile]) key.update(`${basename(file)} ${statSync(file).size}\n`);
  key.update(`${process.version} ${statSync(process.execPath).size}\n`);
  for (const source of [import.meta.filename, INIT]) key.update(readFileSync(source));
  const dir = join(cache, `guest-${key.digest('hex').slice(0, 16)}`);
  if (!existsSync(dir)) {
    const work = mkdtempSync(join(cache, 'building-'));
    try {
      await buildRoot(join(work, 'root'), files);
      const release = await addKernel(work, kernelFile);
      await disk(join(work, 'root'), join(work, 'disk.img'), 256);
      step(`disk of Debian with Linux ${release}`);
      for (const scratch of ['root', 'kernel', 'initrd']) rmSync(join(work, scratch), { recursive: true });
      renameSync(work, dir);
    } catch (error) {
      rmSync(work, { recursive: true, force: true });
      throw error;
    }
  }
  const release = readFileSync(join(dir, 'release'), 'utf8');
  return { release, kernel: join(dir, 'vmlinuz'), initrd: join(dir, 'initrd.gz'), disk: join(dir, 'disk.img') };
}

async function buildRoot(root: string, files: readonly string[]): Promise<void> {
  for (const dir of ['usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64', 'mlshim', 'root', 'etc/systemd/system'])
    mkdirSync(join(root, dir), { recursive: true });
  for (const dir of ['dev', 'proc', 'sys', 'run', 'tmp', 'var']) mkdirSync(join(root, dir));
  for (const dir of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${dir}`, join(root, dir));
  symlinkSync('/run', join(root, 'var', 'run'));
  const left = LEFT_OUT.map((path) => `--exclude=./${path}`);
  const unpack = 'deb=$1; shift; dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner "$@"';
  for (const file of files) await run('bash', ['-o', 'pipefail', '-c', unpack, 'bash', file, ...left], root);
  // Debian's own link is made when its package is configured.
  if (!existsSync(join(root, 'usr', 'bin', 'sh'))) symlinkSync('bash', join(root, 'usr', 'bin', 'sh'));
  await addNode(root);
  const etc = (name: string, text: string): void => writeFileSync(join(root, 'etc', name), text);
  etc('passwd', PASSWD);
  etc('group', GROUP);
  etc('hosts', '127.0.0.1 localhost guest\n::1 localhost\n');
  etc('nsswitch.conf', 'hosts: files dns\npasswd: files\ngroup: files\n');
  etc('machine-id', '');
  etc('systemd/system/cases.service', CASES_SERVICE);
  etc('systemd/system/cases.target', CASES_TARGET);
}

/** This machine's Node, and the libraries Debian's packages above do not bring along. */
async function addNode(root: string): Promise<void> {
  cpSync(process.execPath, join(root, 'usr', 'bin', 'node'), { dereference: true });
  const libraries = join(root, 'usr', 'lib', 'x86_64-linux-gnu');
  for (const [, path] of (await run('ldd', [process.execPath])).matchAll(/=> (\/\S+)/g)) {
    const target = join(libraries, basename(path!));
    if (!existsSync(target)) cpSync(path!, target, { dereference: true });
  }
}

/** Modules into the root, the kernel and its initial RAM disk beside it; returns the kernel's release. */
async function addKernel(work: string, file: string): Promise<string> {
  const unpacked = join(work, 'kernel');
  await run('dpkg-deb', ['-x', file, unpacked]);
  const tree = ['lib', 'usr/lib'].map((dir) => join(unpacked, dir, 'modules')).find((dir) => existsSync(dir))!;
  const release = readdirSync(tree)[0]!;
  const target = join(work, 'root', 'usr', 'lib', 'modules', release);
  for (const folder of MODULE_FOLDERS)
    if (existsSync(join(tree, release, 'kernel', folder)))
      cpSync(join(tree, release, 'kernel', folder), join(target, 'kernel', folder), { recursive: true });
  for (const list of ['modules.builtin', 'modules.builtin.modinfo', 'modules.order'])
    cpSync(join(tree, release, list), join(target, list));
  await run('find', [target, '-name', '*.ko.xz', '-exec', 'xz', '-d', '{}', '+']);
  await run('depmod', ['-b', join(work, 'root'), release]);
  cpSync(join(unpacked, 'boot', `vmlinuz-${release}`), join(work, 'vmlinuz'));
  writeFileSync(join(work, 'release'), release);
  await initrd(work, release);
  return release;
}

async function initrd(work: string, release: string): Promise<void> {
  const tree = join(work, 'initrd');
  for (const dir of ['bin', 'dev', 'proc', 'root', 'modules']) mkdirSync(join(tree, dir), { recursive: true });
  cpSync(join(work, 'root', 'usr', 'bin', 'busybox'), join(tree, 'bin', 'busybox'));
  cpSync(INIT, join(tree, 'init'));
  const order: string[] = [];
  for (const module of DISK_MODULES) {
    const needed = await run('modprobe', ['-d', join(work, 'root'), '-S', release, '--show-depends', module]);
    for (const [, path] of needed.matchAll(/^insmod (\S+)/gm)) {
      if (order.includes(basename(path!))) continue;
      order.push(basename(path!));
      cpSync(path!, join(tree, 'modules', basename(path!)));
    }
  }
  writeFileSync(join(tree, 'modules', 'order'), order.map((module) => `${module}\n`).join(''));
  const pack = 'chmod 755 init && find . | cpio -o -H newc --quiet --owner 0:0 | gzip -1 >"$1"';
  await run('bash', ['-o', 'pipefail', '-c', pack, 'bash', join(work, 'initrd.gz')], tree);
}

/** A file system of a folder's files. @param spare MiB beyond them */
async function disk(folder: string, image: string, spare: number): Promise<void> {
  const used = Number((await run('du', ['-sm', folder])).split('\t')[0]);
  const size = `${Math.ceil(used * 1.1) + spare}M`;
  await run('mke2fs', [
    '-q',
    '-F',
    '-t',
    'ext4',
    '-O',
    '^has_journal',
    '-E',
    'root_owner=0:0',
    '-d',
    folder,
    image,
    size,
  ]);
}

/** The checkout's build and what it needs at run time, as a disk. @param dir a folder of the run's own */
export async function ourDisk(dir: string): Promise<string> {
  const stage = join(dir, 'mlshim');
  mkdirSync(join(stage, 'build'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(stage, 'package.json'));
  const parts = readdirSync(join(ROOT, 'build')).filter((name) => name !== 'lab');
  const link = (from: string, to: string): Promise<string> => run('cp', ['-al', from, to]);
  for (const part of parts) await link(join(ROOT, 'build', part), join(stage, 'build', part));
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>;
  };
  for (const [path, { dev }] of Object.entries(lock.packages)) {
    if (path === '' || dev || !existsSync(join(ROOT, path))) continue;
    mkdirSync(join(stage, path, '..'), { recursive: true });
    await link(join(ROOT, path), join(stage, path));
  }
  const image = join(dir, 'mlshim.img');
  await disk(stage, image, 8);
  rmSync(stage, { recursive: true });
  return image;
}
