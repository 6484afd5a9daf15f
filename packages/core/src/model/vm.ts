/** What can be done to a VM that was deployed. */
export type VmAction = 'reset' | 'nmi' | 'screenshot';
