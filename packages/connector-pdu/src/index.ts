/**
 * Power of boards by PDUs, smart plugs, BMCs, USB hubs and relays: {@link pdu} and the drivers it is given.
 *
 * @module @bringup/connector-pdu
 */
export { pdu, type PduOptions } from './pdu.ts';
export { apc, type ApcOptions } from './drivers/apc.ts';
export { raritan, type RaritanOptions } from './drivers/raritan.ts';
export { eaton, type EatonOptions } from './drivers/eaton.ts';
export { serverTechnology, type ServerTechnologyOptions } from './drivers/server-technology.ts';
export { cyberPower, type CyberPowerOptions } from './drivers/cyber-power.ts';
export { poeSwitch, type PoeSwitchOptions } from './drivers/poe-switch.ts';
export { snmpPdu, type SnmpPduOptions } from './drivers/snmp-pdu.ts';
export { netio, type NetioOptions } from './drivers/netio.ts';
export { gude, type GudeOptions } from './drivers/gude.ts';
export { tasmota, type TasmotaOptions } from './drivers/tasmota.ts';
export { shellyGen1, type ShellyGen1Options } from './drivers/shelly-gen1.ts';
export { shellyGen2, type ShellyGen2Options } from './drivers/shelly-gen2.ts';
export { redfish, type RedfishOptions } from './drivers/redfish.ts';
export { ipmi, type IpmiOptions } from './drivers/ipmi.ts';
export { uhubctl, type UhubctlOptions } from './drivers/uhubctl.ts';
export { gpio, type GpioOptions } from './drivers/gpio.ts';
export { usbRelay, type UsbRelayOptions } from './drivers/usb-relay.ts';
export { pdudaemon, type PdudaemonOptions } from './drivers/pdudaemon.ts';
export { httpPower, type HttpPowerOptions, type HttpPowerRequest } from './drivers/http-power.ts';
export { commandPower, type CommandPowerOptions } from './drivers/command-power.ts';
export { namedOutlets, numberedOutlets, type DriverCall, type OutletCheck, type PduDriver } from './driver.ts';
export { httpClient, type DeviceAnswer, type DeviceRequest, type HttpAccess, type HttpClient } from './http/client.ts';
export type { HttpsOptions } from './http/socket.ts';
export type { SnmpAccess, SnmpCommunity, SnmpUser } from './snmp/client.ts';
export type { ShellAccess } from './shell/runner.ts';
export type { StatePatterns } from './state-patterns.ts';
