import type { ConfigLine } from './config-file.ts';

/** Keywords whose meaning is honoured wherever they stand. */
const honoured = new Set([
  'connecttimeout',
  'globalknownhostsfile',
  'hostkeyalias',
  'hostname',
  'identitiesonly',
  'identityagent',
  'identityfile',
  'port',
  'proxyjump',
  'serveralivecountmax',
  'serveraliveinterval',
  'user',
  'userknownhostsfile',
]);

/** Keywords that are about the `ssh` program's own sessions and terminals: they change nothing for us. */
const elsewhere = new Set([
  'addkeystoagent',
  'batchmode',
  'canonicaldomains',
  'canonicalizefallbacklocal',
  'canonicalizemaxdots',
  'canonicalizepermittedcnames',
  'checkhostip',
  'clearallforwardings',
  'controlmaster',
  'controlpath',
  'controlpersist',
  'dynamicforward',
  'enableescapecommandline',
  'escapechar',
  'exitonforwardfailure',
  'fingerprinthash',
  'forkafterauthentication',
  'forwardagent',
  'forwardx11',
  'forwardx11timeout',
  'forwardx11trusted',
  'gatewayports',
  'gssapiauthentication',
  'gssapidelegatecredentials',
  'hashknownhosts',
  'ignoreunknown',
  'localcommand',
  'localforward',
  'loglevel',
  'logverbose',
  'numberofpasswordprompts',
  'permitlocalcommand',
  'permitremoteopen',
  'remotecommand',
  'remoteforward',
  'requesttty',
  'sendenv',
  'sessiontype',
  'stdinnull',
  'streamlocalbindmask',
  'streamlocalbindunlink',
  'syslogfacility',
  'tcpkeepalive',
  'tunnel',
  'tunneldevice',
  'updatehostkeys',
  'visualhostkey',
  'xauthlocation',
]);

/** Keywords that only some values of can be passed over, and which. */
const harmless: Readonly<Record<string, { readonly values: RegExp; readonly why: string }>> = {
  proxycommand: { values: /^none$/i, why: 'commands of a configuration are never run; ProxyJump does the same' },
  knownhostscommand: { values: /^none$/i, why: 'commands of a configuration are never run' },
  revokedhostkeys: { values: /^none$/i, why: 'key revocation lists are not read; @revoked lines of known_hosts are' },
  canonicalizehostname: { values: /^(?:no|false)$/i, why: 'host names are taken as they are written' },
};

/** Why a line must not be passed over; undefined when it may. */
export function whyRefused({ keyword, args }: ConfigLine): string | undefined {
  const rule = harmless[keyword];
  return rule === undefined || rule.values.test(args[0] ?? '') ? undefined : rule.why;
}

/** Whether a line is honoured, or says what is done anyway. */
export function isHonoured({ keyword, args }: ConfigLine): boolean {
  if (keyword === 'stricthostkeychecking') return /^(?:yes|true|ask)$/i.test(args[0] ?? '');
  return honoured.has(keyword) || harmless[keyword] !== undefined;
}

/** Whether a line that is passed over is worth no more than a debug message. */
export function concernsOthers({ keyword }: ConfigLine): boolean {
  return elsewhere.has(keyword);
}
