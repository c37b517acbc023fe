//go:build !race

package sandbox

const compileMemory = 2 << 30
