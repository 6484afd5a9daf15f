/** Who gets what comes over a {@link Carrier}. */
export interface CarrierSink {
  /** The machine said this. */
  data(bytes: Uint8Array): void;
  /** The way to the machine broke, and why; nothing comes after it. */
  lost(cause: unknown): void;
}

/** An open way to one serial line. */
export interface Carrier {
  /** Begins to deliver; called once. */
  attach(sink: CarrierSink): void;
  /** Stops delivering until {@link Carrier.resume}: what is said meanwhile waits on the far side. */
  pause(): void;
  resume(): void;
  /** Resolves when the bytes are on their way. */
  write(bytes: Uint8Array): Promise<void>;
  sendBreak?(): Promise<void>;
  /** Lets go of the line. May be called when it is lost already. */
  close(): Promise<void>;
}
