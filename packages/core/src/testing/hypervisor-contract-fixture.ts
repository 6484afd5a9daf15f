import type { Hypervisor, VmSpec } from '../contracts/hypervisor.ts';

/** One host to run the suite against, and the guest it boots. */
export interface HypervisorContractFixture {
  /** A new session with the host. Every session sees the same VMs. */
  readonly connect: () => Promise<Hypervisor>;
  /**
   * A VM that boots the guest; the suite fills in name, tags and command line. The guest prints one
   * line that begins with `greeting` and ends with its command line, sends back every byte it gets
   * and stops its VM on `quit`: {@link tinyGuestImage} does, on real x86 hypervisors.
   */
  readonly spec: Omit<VmSpec, 'name' | 'tags' | 'commandLine'>;
  readonly greeting: string;
  readonly quit: string;
  /** Takes everything down. */
  readonly dispose: () => Promise<void>;
}

/** What {@link hypervisorContract} is given. */
export interface HypervisorContractOptions {
  /** The implementation, in the suite's title. */
  readonly name: string;
  /** Called once for the suite. */
  readonly setup: () => Promise<HypervisorContractFixture>;
}
