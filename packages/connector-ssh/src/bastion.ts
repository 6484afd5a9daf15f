import { BringupError, isBringupError } from '@bringup/core';
import type { Duplex } from 'node:stream';
import { ChannelRefused, Connection, type ConnectionOptions } from './connection.ts';
import { type TargetName } from './errors.ts';
import { ForwardStream } from './forward-stream.ts';
import type { Pool } from './pool.ts';
import type { Endpoint } from './route.ts';

/** A server and the host it is reached through. */
interface Way {
  readonly endpoint: Endpoint;
  readonly via: Endpoint;
  /** The connection to that host, which all servers behind it share. */
  readonly bastion: () => Promise<Pool>;
  readonly options: ConnectionOptions;
}

/**
 * Connects to a server through another one, which stays connected as long as this connection lives.
 * @throws as `Connection.open`; where it is the host on the way that failed, the error says so.
 */
export async function openThrough(way: Way, signal: AbortSignal): Promise<Connection> {
  const { endpoint, via, options } = way;
  const pool = await way.bastion().catch((error: unknown) => {
    throw onTheWay(error, endpoint.name, via.name);
  });
  // Counted as a session: a bastion that is in use does not grow idle.
  pool.addSession();
  try {
    signal.throwIfAborted();
    const connection = await Connection.open(endpoint, options, signal, () => tunnel(pool, way));
    void connection.closed.then(() => pool.removeSession());
    return connection;
  } catch (error) {
    pool.removeSession();
    throw error;
  }
}

/** A stream from the bastion to the server's port. */
async function tunnel(pool: Pool, { endpoint, via }: Way): Promise<Duplex> {
  const { host, port, name } = endpoint;
  try {
    const stream = await pool.forward({ host, port }, (channel, connection) => new ForwardStream(channel, connection));
    // As a socket does: without this nobody would close what the server has ended.
    return stream.once('end', () => stream.destroy());
  } catch (error) {
    if (!(error instanceof ChannelRefused)) throw onTheWay(error, name, via.name);
    // RFC 4254 §5.1: 1 is administratively prohibited; a port that does not answer is 2.
    const refused = error.reason === 1;
    throw new BringupError(
      'connection-failed',
      `Could not connect to ${name.label}: ${via.name.label} could not reach ${host}:${port} for it: ${error.message}. ` +
        (refused ? 'Does that host allow forwarding (AllowTcpForwarding, PermitOpen)?' : 'Is sshd running there?'),
      { retryable: !refused, details: { ...name.details, hop: via.name.label }, cause: error },
    );
  }
}

/** The error of a host on the way, as that of the server behind it. */
function onTheWay(error: unknown, target: TargetName, hop: TargetName): unknown {
  if (!isBringupError(error)) return error;
  const { hop: inner = hop.label, ...details } = error.details;
  return new BringupError(error.code, `On the way to ${target.label}: ${error.message}`, {
    retryable: error.retryable,
    details: { ...details, hop: inner, target: target.label },
    cause: error,
  });
}
