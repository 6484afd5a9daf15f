/** Hypervisors and their VMs. */
export const hypervisorLimits = {
  /** A call to a hypervisor. Cold capabilities of libvirt can take 8 s. */
  hypervisorCallTimeoutMs: 30_000,
  /** A hypervisor's daemon that says nothing for this long is pinged. */
  hypervisorKeepaliveIntervalMs: 5_000,
  /** Pings in a row without an answer before that connection counts as lost. */
  hypervisorKeepaliveMisses: 3,
  /** What waits to be sent to a daemon; beyond it, pings are not answered: it hears enough of us, or does not read. */
  hypervisorUnreadBytes: 65_536,
  /** What comes on a stream before the call that opens it is answered; beyond it, the connection ends (`connection-lost`). */
  hypervisorEarlyStreamBytes: 67_108_864,
  /** Calls that wait for their turn at a hypervisor's daemon on one connection; more are refused (`unavailable`). */
  hypervisorWaitingCalls: 1_000,
  /** Saying goodbye to a hypervisor's daemon, or letting go of a console. */
  hypervisorCloseTimeoutMs: 2_000,
  /** Ending a VM. libvirt itself waits up to 30 s for whoever is busy with it, and says so then. */
  vmRemovalTimeoutMs: 60_000,
  /** After a VM was reset, its firmware may reset it once more by itself; this long without is the end of it. */
  vmResetSettleMs: 1_000,
  /** A reset, an NMI or a screenshot of a deployed VM, reaching its host included. */
  vmControlTimeoutMs: 60_000,
  /** Taking a snapshot of a VM, or going back to one. */
  snapshotTimeoutMs: 300_000,
  /** Largest image of a VM's display. */
  screenshotMaxBytes: 67_108_864,
  /** A guest that proves KVM by running must end within this time. */
  kvmProofTimeoutMs: 5_000,
  /** A trial guest must have run under KVM within this time; a healthy one takes a tenth of it. */
  kvmProofMs: 1_500,
  /** A trial guest that did not run is tried again after this long. */
  kvmDoubtMs: 3_600_000,
  /** VM events that may wait for a slow reader. */
  vmEventBacklog: 1_000,
  /** How often a QEMU host looks for VMs whose end it was not told of. */
  vmProbeMs: 500,
  /** How long a QEMU may take to say how its VM is; beyond it, its files have to tell. */
  qmpPatienceMs: 5_000,
  /** Standard error of a QEMU that is quoted in an error. */
  qemuErrorBytes: 4_096,
  /** One read of a recorded console. */
  consoleReadBytes: 65_536,
} as const;
