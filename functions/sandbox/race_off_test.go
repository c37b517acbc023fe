//go:build !race

package sandbox

const (
	raceDetector  = false
	compileMemory = 2 << 30
)
