import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));
const packages = ['core', 'connector-ssh', 'connector-libvirt', 'connector-serial', 'connector-pdu'];
/** What sounds like something that nobody may see. */
const soundsSecret = /passw(?:or)?d|passphrase|secret|token|credential|community|privatekey|apikey|authorization/i;

/** The credentials that the public types have room for, and those that they take without hiding them. */
export interface CredentialFields {
  /** Such as `SnmpUser.authPassword`: the type that declares the field, and its path within it. */
  readonly hidden: readonly string[];
  /** Fields of users' input that are named like credentials but take plain text. */
  readonly plain: readonly string[];
}

/**
 * Reads the types of everything that the packages export, with what that refers to, and finds all fields that can hold
 * a `Secret`.
 */
export function credentialFields(): CredentialFields {
  const entries = packages.map((name) => `${root}packages/${name}/src/index.ts`);
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(`${root}tsconfig.json`, (file) => ts.sys.readFile(file)).config,
    ts.sys,
    root,
  );
  const program = ts.createProgram(entries, options);
  const checker = program.getTypeChecker();
  const hidden = new Set<string>();
  const plain = new Set<string>();

  const seen = new Set<ts.Node>();
  const visit = (node: ts.Node): void => {
    if (seen.has(node)) return;
    seen.add(node);
    if (ts.isPropertySignature(node) && node.type !== undefined) judge(node, node.type);
    // What a type refers to can be filled in by its users too, wherever it is declared.
    if (ts.isTypeReferenceNode(node) || ts.isExpressionWithTypeArguments(node)) follow(node);
    ts.forEachChild(node, visit);
  };
  const follow = (node: ts.TypeReferenceNode | ts.ExpressionWithTypeArguments): void => {
    const name = ts.isTypeReferenceNode(node) ? node.typeName : node.expression;
    const symbol = checker.getSymbolAtLocation(name);
    if (symbol !== undefined) declarationsOf(symbol).forEach(visit);
  };
  const declarationsOf = (symbol: ts.Symbol): readonly ts.Node[] => {
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    return (target.declarations ?? []).filter((declaration) => {
      const { fileName } = declaration.getSourceFile();
      return fileName.startsWith(`${root}packages/`) && !fileName.includes('node_modules');
    });
  };
  const judge = (node: ts.PropertySignature, type: ts.TypeNode): void => {
    const text = type.getText();
    if (/\bSecret\b/.test(text) && !ts.isTypeLiteralNode(type)) hidden.add(pathOf(node));
    else if (soundsSecret.test(node.name.getText()) && /^(?:string|readonly string\[\])\b/.test(text))
      plain.add(pathOf(node));
  };
  for (const entry of entries) {
    const file = program.getSourceFile(entry) ?? fail(entry);
    const module = checker.getSymbolAtLocation(file) ?? fail(entry);
    for (const exported of checker.getExportsOfModule(module)) declarationsOf(exported).filter(isType).forEach(visit);
  }
  return { hidden: [...hidden].toSorted(), plain: [...plain].toSorted() };
}

/** Classes are read for what their members take; what their bodies do is of no interest. */
function isType(node: ts.Node): boolean {
  return (
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isFunctionDeclaration(node) ||
    ts.isClassDeclaration(node)
  );
}

function pathOf(node: ts.Node): string {
  const names: string[] = [];
  for (let at: ts.Node = node; at !== undefined && !ts.isSourceFile(at); at = at.parent) {
    if (ts.isPropertySignature(at)) names.unshift(at.name.getText());
    else if (ts.isInterfaceDeclaration(at) || ts.isTypeAliasDeclaration(at)) names.unshift(at.name.text);
  }
  return names.length > 1 ? names.join('.') : `${basename(dirname(node.getSourceFile().fileName))}.${names.join('.')}`;
}

function fail(file: string): never {
  throw new Error(`${file} can't be read`);
}
