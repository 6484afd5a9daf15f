import { protocolError } from './rpc/protocol-error.ts';
import type { XdrReader } from './rpc/xdr.ts';

/** Most parameters that are read from one record: REMOTE_CONNECT_GET_ALL_DOMAIN_STATS_MAX. */
const maxParams = 262_144;

// virTypedParameterType
const paramType = { int: 1, uint: 2, llong: 3, ullong: 4, double: 5, boolean: 6, string: 7 } as const;

function readValue(reader: XdrReader): number | string {
  const type = reader.i32();
  switch (type) {
    case paramType.int:
    case paramType.boolean:
      return reader.i32();
    case paramType.uint:
      return reader.u32();
    case paramType.llong:
      return Number(reader.i64());
    case paramType.ullong:
      return Number(reader.u64());
    case paramType.double:
      return reader.f64();
    case paramType.string:
      return reader.string();
    default:
      throw protocolError(`a parameter has the unknown type ${type}`);
  }
}

/** Reads a list of remote_typed_param. */
export function readTypedParams(reader: XdrReader): Map<string, number | string> {
  return new Map(reader.array(maxParams, () => [reader.string(), readValue(reader)] as const));
}
