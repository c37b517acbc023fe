// Package sandbox runs the code of actions: WebAssembly modules that follow
// WASI preview 1, and JavaScript, in an engine that is such a module itself.
//
// A [Pool] passes each [Call] to one of a few subprocesses, the workers, and returns its
// [Outcome]. A separate process compiles a module once, into a folder by the hash of its
// code. Each call gets its own instance, which is discarded when the call ends. A call
// sees its input, its environment and its mounts, and nothing else: no network, no other
// file, no other process.
package sandbox
