/** One thing the system must do, hold or do about a failure. */
export interface Requirement {
  /** `R4.2` is a capability, `P9` an invariant, `E-checksum` what is done about a failure. */
  readonly id: string;
  /** The requirement in one line. */
  readonly says: string;
  /** Files that implement it, from the repository's root; `path#name` means that export of the file. */
  readonly where: readonly string[];
}

/** Requirements by id, as the lists beside this file state them. */
export type RequirementList = Readonly<Record<string, Omit<Requirement, 'id'>>>;
