import type { ReportedVolume } from '../../api/report.js';

/** File systems that lie on block devices. What is on none (tmpfs, nfs, fuse), or only a read-only image, is no volume. */
const ON_DISKS = /^(?:ext[234]|xfs|btrfs|f2fs|vfat|exfat|ntfs3?|zfs|reiserfs|jfs|bcachefs)$/;

/** The machine's mounts. */
export const MOUNTS = '/proc/1/mountinfo';
/** The agent's own, for where PID 1 cannot be looked at (proc(5), hidepid): the same, and binds of its sandbox besides. */
export const OWN_MOUNTS = '/proc/self/mountinfo';

/** Of one of these (proc_pid_mountinfo(5)); null where there is none. */
export function readVolumes(mountinfo: string | null): readonly ReportedVolume[] | null {
  if (mountinfo === null) return null;
  const volumes = new Map<string, ReportedVolume>();
  for (const mount of mountinfo.split('\n').flatMap(readMount)) {
    const { id, root, mountPoint, fileSystem, source, subvolume } = mount;
    // What is mounted of a part, as `mount --bind` does, shows what is there already.
    if (!ON_DISKS.test(fileSystem) || root !== (subvolume ?? '/')) continue;
    // The numbers of btrfs are its own, and not the disk's.
    const key = fileSystem === 'btrfs' ? source : id;
    const known = volumes.get(key) ?? { device: source, fileSystem, mountPoints: [] };
    if (known.mountPoints.includes(mountPoint)) continue;
    volumes.set(key, { ...known, mountPoints: [...known.mountPoints, mountPoint] });
  }
  return [...volumes.values()];
}

interface Mount {
  /** The number of the device, as `254:0`. */
  readonly id: string;
  /** The directory of the file system that is mounted. */
  readonly root: string;
  readonly mountPoint: string;
  readonly fileSystem: string;
  readonly source: string;
  /** Of btrfs, the one that `root` lies in; null for all others. */
  readonly subvolume: string | null;
}

function readMount(line: string): readonly Mount[] {
  const [before = '', after = ''] = line.split(' - ');
  const [, , id, root, mountPoint] = before.split(' ').map(unescape);
  const [fileSystem, source, options = ''] = after.split(' ').map(unescape);
  if (id === undefined || root === undefined || mountPoint === undefined) return [];
  if (fileSystem === undefined || source === undefined) return [];
  const [, subvolume = null] = /(?:^|,)subvol=([^,]*)/.exec(options) ?? [];
  return [{ id, root, mountPoint, fileSystem, source, subvolume }];
}

/** Spaces, tabs, line feeds and backslashes are octal there. */
function unescape(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
