// Package sandbox runs the code of actions: WebAssembly modules that follow
// WASI preview 1, and JavaScript, in an engine that is such a module itself.
//
// A [Pool] hands each [Call] to one of a few subprocesses, the workers, and
// gives back its [Outcome]. A module is compiled once, by a process that does
// nothing else, and is kept on disk by the hash of its code; every call gets an
// instance of its own, which is thrown away when the call ends. A call sees its
// input, its environment and its mounts, and nothing else: no network, no other
// file, no other process.
package sandbox
