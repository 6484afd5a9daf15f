import * as v from 'valibot';
import type { Architecture } from '../../model/architecture.ts';
import type { Connection, Host, HostRegistration, ServerStatus } from '../../model/resource.ts';
import { validate } from '../../model/validate.ts';
import { baseView, type ResourceKindModule } from '../kind.ts';
import { probeFacts } from '../probe.ts';
import { absolutePathField, connectionFields, countField, labelsField } from '../../model/fields.ts';

const registrationSchema: v.GenericSchema<unknown, HostRegistration> = v.strictObject({
  ...connectionFields,
  hypervisor: v.exactOptional(v.string('must be the name of a connector')),
  maxVms: v.exactOptional(countField),
  labels: v.exactOptional(labelsField),
  workspace: v.exactOptional(absolutePathField),
});

interface Profile extends Connection {
  readonly hypervisor: string;
  readonly workspace: string;
  readonly architecture: Architecture;
  readonly vmArchitectures: readonly Architecture[];
  readonly kvmEnabled: boolean;
  readonly nestedVirtEnabled: boolean;
}

/** Hosts: one slot a VM, and the VM's CPUs, memory and disk come off the host's. */
export const hostKind: ResourceKindModule<HostRegistration, Host, Profile> = {
  kind: 'host',
  title: 'host',
  validate: (input) => validate('the host', registrationSchema, input),
  nameOf: (registration) => registration.hostname,
  labelsOf: (registration) => registration.labels ?? {},

  async probe(registration, connectors, options) {
    await using shell = await connectors.openShell(registration, options);
    const facts = await probeFacts(shell, registration.workspace, options);
    const hypervisor = connectors.hypervisorName(registration.hypervisor);
    await using session = await connectors.openHost(
      { ...registration, hypervisor, workspace: facts.workspace },
      options,
    );
    const found = await session.hypervisor.capabilities(options);
    const { labels: _labels, maxVms, ...connection } = registration;
    return {
      name: registration.hostname,
      profile: {
        ...connection,
        shell: connectors.shellName(registration.shell),
        hypervisor,
        workspace: facts.workspace,
        architecture: facts.architecture,
        vmArchitectures: found.architectures,
        kvmEnabled: found.kvm,
        nestedVirtEnabled: found.nestedVirt,
      },
      capacity: { slots: maxVms ?? 10, cpuCores: found.cpuCores, memoryMb: found.memoryMb, storageGb: facts.freeGb },
      architectures: found.architectures,
      traits: [...(found.kvm ? ['kvm'] : []), ...(found.nestedVirt ? ['nested-virt'] : [])],
    };
  },

  view(row) {
    const profile = JSON.parse(row.profile) as Profile;
    return {
      ...baseView(row),
      ...profile,
      status: row.maintenance === 1 ? 'maintenance' : (row.status as ServerStatus),
      totalCpuCores: row.cpu_total,
      totalMemoryMb: row.memory_mb_total,
      totalStorageGb: row.storage_gb_total,
      runningVmCount: row.slots_used,
      maxVms: row.slots_total,
    };
  },
};
