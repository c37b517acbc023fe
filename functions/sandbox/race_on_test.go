//go:build race

package sandbox

// The race detector reserves terabytes of addresses, and keeps for itself what the
// garbage collector frees.
const (
	raceDetector  = true
	compileMemory = 1 << 50
)
