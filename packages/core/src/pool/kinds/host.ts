import * as v from 'valibot';
import type { HypervisorCapabilities } from '../../contracts/hypervisor.ts';
import type { Architecture } from '../../model/architecture.ts';
import { absolutePathField, connectionFields, countField, labelsField, minimumFields } from '../../model/fields.ts';
import type { Connection, Host, HostRegistration, NetworkInterface } from '../../model/resource.ts';
import { validate } from '../../model/validate.ts';
import { machineView, type ResourceKindModule } from '../kind.ts';
import { checkMinimum } from '../minimum.ts';
import { probeFacts, probeNetwork, type MachineFacts } from '../probe.ts';

const registrationSchema: v.GenericSchema<unknown, HostRegistration> = v.strictObject({
  ...connectionFields,
  ...minimumFields,
  hypervisor: v.exactOptional(v.string('must be the name of a connector')),
  maxVms: v.exactOptional(countField),
  labels: v.exactOptional(labelsField),
  workspace: v.exactOptional(absolutePathField),
});

interface Detected {
  readonly facts: MachineFacts;
  readonly capabilities: HypervisorCapabilities;
  readonly networkInterfaces: readonly NetworkInterface[];
}

interface Profile extends Connection {
  readonly hypervisor: string;
  readonly workspace: string;
  readonly kernelVersion: string;
  readonly networkInterfaces: readonly NetworkInterface[];
  readonly architecture: Architecture;
  readonly vmArchitectures: readonly Architecture[];
  readonly kvmEnabled: boolean;
  readonly nestedVirtEnabled: boolean;
}

/** Hosts: one slot a VM, and the VM's CPUs, memory and disk come off the host's. */
export const hostKind: ResourceKindModule<HostRegistration, Host, Detected, Profile> = {
  kind: 'host',
  title: 'host',
  quietFields: ['labels', 'maxVms'],
  validate: (input) => validate('the host', registrationSchema, input),
  nameOf: (registration) => registration.hostname,
  labelsOf: (registration) => registration.labels ?? {},

  async detect(registration, { connectors, signal, patiently }) {
    await using shell = await patiently(() => connectors.openShell(registration, { signal }));
    const facts = await probeFacts(shell, registration.workspace, { signal });
    const hypervisor = connectors.hypervisorName(registration.hypervisor);
    const connection = { ...registration, hypervisor, workspace: facts.workspace };
    await using session = await patiently(() => connectors.openHost(connection, { signal }));
    const capabilities = await session.hypervisor.capabilities({ signal });
    const { cpuCores, memoryMb } = capabilities;
    checkMinimum(registration.hostname, registration, { cpuCores, memoryMb, freeGb: facts.freeGb });
    return { facts, capabilities, networkInterfaces: await probeNetwork(shell, { signal }) };
  },

  describe(registration, { facts, capabilities, networkInterfaces }, connectors) {
    const { labels: _labels, maxVms, ...rest } = registration;
    const { minCpuCores: _cores, minMemoryMb: _memory, minStorageGb: _storage, ...connection } = rest;
    const { architectures, kvm, nestedVirt, cpuCores, memoryMb } = capabilities;
    return {
      name: registration.hostname,
      profile: {
        ...connection,
        shell: connectors.shellName(registration.shell),
        hypervisor: connectors.hypervisorName(registration.hypervisor),
        workspace: facts.workspace,
        kernelVersion: facts.kernelVersion,
        networkInterfaces,
        architecture: facts.architecture,
        vmArchitectures: architectures,
        kvmEnabled: kvm,
        nestedVirtEnabled: nestedVirt,
      },
      capacity: { slots: maxVms ?? 10, cpuCores, memoryMb, storageGb: facts.freeGb },
      architectures,
      traits: [...(kvm ? ['kvm'] : []), ...(nestedVirt ? ['nested-virt'] : [])],
    };
  },

  view(row) {
    const profile = JSON.parse(row.profile) as Profile;
    return { ...machineView(row), ...profile, runningVmCount: row.slots_used, maxVms: row.slots_total };
  },
};
