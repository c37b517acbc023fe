//go:build race

package sandbox

// The race detector reserves terabytes of addresses.
const compileMemory = 1 << 50
