/** Programs and their versions that share a connection. */
export const programs = {
  /** REMOTE_PROGRAM: the hypervisor itself (libvirt: src/remote/remote_protocol.x). */
  remote: { program: 0x2000_8086, version: 1 },
  /** KEEPALIVE_PROGRAM (libvirt: src/rpc/virkeepaliveprotocol.x). */
  keepalive: { program: 0x6b65_6570, version: 1 },
} as const;

/** Procedures of the keepalive program; both travel as events. */
export const keepaliveProcedure = { ping: 1, pong: 2 } as const;

/** Procedures of the remote program, REMOTE_PROC_*. */
export const procedures = {
  connectOpen: 1,
  connectClose: 2,
  connectGetVersion: 4,
  nodeGetInfo: 6,
  connectGetCapabilities: 7,
  domainCreateXml: 10,
  domainDefineXml: 11,
  domainLookupByName: 23,
  domainResume: 28,
  connectSupportsFeature: 60,
  authList: 66,
  authSaslInit: 67,
  authSaslStart: 68,
  authSaslStep: 69,
  authPolkit: 70,
  storagePoolDefineXml: 77,
  storagePoolCreate: 78,
  storagePoolBuild: 79,
  storagePoolDestroy: 80,
  storagePoolUndefine: 82,
  storagePoolLookupByName: 84,
  storagePoolGetInfo: 87,
  storagePoolSetAutostart: 90,
  storageVolCreateXml: 93,
  storageVolDelete: 94,
  storageVolLookupByName: 95,
  storageVolGetInfo: 98,
  storageVolGetPath: 100,
  domainSnapshotCreateXml: 185,
  domainSnapshotGetXmlDesc: 186,
  domainRevertToSnapshot: 192,
  domainSnapshotDelete: 193,
  domainCreateWithFlags: 196,
  domainOpenConsole: 201,
  storageVolUpload: 208,
  storageVolDownload: 209,
  domainInjectNmi: 210,
  domainScreenshot: 211,
  domainGetState: 212,
  nodeGetMemoryStats: 228,
  domainUndefineFlags: 231,
  domainDestroyFlags: 234,
  domainReset: 245,
  domainGetMetadata: 265,
  connectListAllDomains: 273,
  domainListAllSnapshots: 274,
  connectListAllStoragePools: 281,
  storagePoolListAllVolumes: 282,
  eventCallbackRegisterAny: 316,
  eventLifecycle: 318,
  eventReboot: 319,
  connectGetAllDomainStats: 344,
  storageVolGetInfoFlags: 378,
  domainSetLifecycleAction: 390,
} as const;

/** Name of a remote procedure. */
export type Procedure = keyof typeof procedures;
