/** What a guest tells by itself: plain data that every wire shows in its own form. */
import type { Kernel } from './host.js';
import type { Signal } from './platform.js';

/** What is not known is null, never a guess. */
export interface Report {
  readonly agent: ReportedAgent;
  readonly os: ReportedOs;
  /** Null where the kernel does not tell: on a copy of a system. */
  readonly memory: ReportedMemory | null;
  /** Ethernet devices but loopback, in the kernel's order. */
  readonly nics: readonly ReportedNic[];
  /** Mounted file systems on disks, in the order of mounting; null where the kernel does not tell. */
  readonly volumes: readonly ReportedVolume[] | null;
  /** What plugins tell, in the order of their files. */
  readonly services: readonly ReportedService[];
}

export interface ReportedAgent {
  readonly name: string;
  /** Such as `1.4.2`. */
  readonly version: string;
}

/** The fields of os-release(5), each null where the system does not tell it. */
export interface ReportedOs {
  /** `ID`, such as `debian`. */
  readonly id: string | null;
  /** `NAME`. */
  readonly name: string | null;
  /** `PRETTY_NAME`: what a person is shown. */
  readonly prettyName: string | null;
  /** `VERSION`. */
  readonly version: string | null;
  /** `VERSION_ID`, such as `12`; null for systems without releases. */
  readonly versionId: string | null;
  /** `VARIANT`. */
  readonly variant: string | null;
  /** `VARIANT_ID`. */
  readonly variantId: string | null;
  readonly hostname: string | null;
  /** The one that runs, on a copy of a system too. */
  readonly kernel: Kernel;
}

export interface ReportedMemory {
  /** Bytes that the kernel manages. */
  readonly total: number;
  /** Bytes that programs could have without swapping; null for kernels before 3.14. */
  readonly available: number | null;
}

export interface ReportedNic {
  readonly name: string;
  /** Lower case, colons. */
  readonly mac: string;
  /** Such as `vif` for Xen's; null for a device without hardware. */
  readonly driver: string | null;
  /** What the device is when it is no hardware: `vlan`, `bridge`, `bond`...; null for hardware. */
  readonly kind: string | null;
  /** Name of the bridge, bond or the like that the device is part of. */
  readonly master: string | null;
  readonly up: boolean;
  /** Bytes. */
  readonly mtu: number;
  /** In the kernel's order; null on a copy of a system, which has none. */
  readonly addresses: readonly ReportedAddress[] | null;
}

export interface ReportedAddress {
  readonly family: 'ipv4' | 'ipv6';
  readonly address: string;
  readonly prefix: number;
  /** False while duplicate address detection runs, and where it has failed. */
  readonly usable: boolean;
  /** From DHCP or a router advertisement. */
  readonly dynamic: boolean;
  /** IPv6: made by the kernel for privacy, to be replaced soon. */
  readonly temporary: boolean;
}

export interface ReportedVolume {
  /** What is mounted, such as `/dev/xvda1`. */
  readonly device: string;
  /** Such as `ext4`. */
  readonly fileSystem: string;
  /** Where it is mounted, the first time first. */
  readonly mountPoints: readonly string[];
}

export interface ReportedService {
  /** Letters, digits, `_` and `-`, at most 64. */
  readonly name: string;
  /**
   * Texts of one line by names of the same form as the service's. `version` and `status` (`running`, `degraded`,
   * `stopped`...) are what hosts look for.
   */
  readonly values: Readonly<Record<string, string>>;
}

/** Reports as they are now, and as they become. Each is frozen: all who want one share it. */
export interface Reports {
  /**
   * What is so now. `parts`: only these, for whoever needs no others; the rest is then not waited for. Rejects where the
   * machine cannot be asked.
   */
  current<Part extends keyof Report = keyof Report>(parts?: readonly Part[]): Promise<Pick<Report, Part>>;
  /**
   * The whole report at once, and again when it differs from the last that this call gave: at most once a second. That
   * less memory is available is a difference from 16 MiB and 2 % of all on. Ends when `signal` aborts; a reader who is
   * slow gets the newest.
   */
  changes(signal: Signal): AsyncIterable<Report>;
}
