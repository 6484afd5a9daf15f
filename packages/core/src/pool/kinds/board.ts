import * as v from 'valibot';
import { BringupError } from '../../errors.ts';
import type { Architecture } from '../../model/architecture.ts';
import type { Board, BoardRegistration, BoardStatus, Connection } from '../../model/resource.ts';
import { validate } from '../../model/validate.ts';
import { baseView, type ResourceKindModule } from '../kind.ts';
import { probeFacts } from '../probe.ts';
import { architectureField, connectionFields, labelsField, nameField } from '../../model/fields.ts';

const registrationSchema: v.GenericSchema<unknown, BoardRegistration> = v.strictObject({
  ...connectionFields,
  name: nameField,
  boardType: v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty')),
  serialNumber: v.exactOptional(v.string()),
  architecture: v.exactOptional(architectureField),
  peripherals: v.exactOptional(v.array(v.string())),
  labels: v.exactOptional(labelsField),
});

interface Profile extends Connection {
  readonly name: string;
  readonly boardType: string;
  readonly serialNumber?: string;
  readonly architecture: Architecture;
  readonly peripherals: readonly string[];
}

/** The trait of a board of this type. */
export function boardTypeTrait(boardType: string): string {
  return `board-type:${boardType}`;
}

/** The trait of a board that has this peripheral. */
export function peripheralTrait(peripheral: string): string {
  return `peripheral:${peripheral}`;
}

/** Boards: one slot, taken whole. */
export const boardKind: ResourceKindModule<BoardRegistration, Board, Profile> = {
  kind: 'board',
  title: 'board',
  validate: (input) => validate('the board', registrationSchema, input),
  nameOf: (registration) => registration.name,
  labelsOf: (registration) => registration.labels ?? {},

  async probe(registration, connectors, options) {
    await using session = await connectors.openShell(registration, options);
    const facts = await probeFacts(session, undefined, options);
    if (registration.architecture !== undefined && registration.architecture !== facts.architecture) {
      throw new BringupError(
        'architecture-mismatch',
        `${registration.name} was said to be ${registration.architecture}, but it is ${facts.architecture}`,
        { details: { claimed: registration.architecture, detected: facts.architecture } },
      );
    }
    const { labels: _labels, ...rest } = registration;
    const peripherals = registration.peripherals ?? [];
    return {
      name: registration.name,
      profile: {
        ...rest,
        shell: connectors.shellName(registration.shell),
        architecture: facts.architecture,
        peripherals,
      },
      capacity: { slots: 1, cpuCores: facts.cpuCores, memoryMb: facts.memoryMb, storageGb: facts.freeGb },
      architectures: [facts.architecture],
      traits: [boardTypeTrait(registration.boardType), ...peripherals.map(peripheralTrait)],
    };
  },

  view(row) {
    const profile = JSON.parse(row.profile) as Profile;
    return { ...baseView(row), ...profile, status: boardStatus(row) };
  },
};

function boardStatus(row: { maintenance: number; status: string; slots_used: number }): BoardStatus {
  if (row.maintenance === 1) return 'maintenance';
  if (row.status !== 'online') return row.status === 'offline' ? 'offline' : 'unknown';
  return row.slots_used > 0 ? 'in_use' : 'available';
}
