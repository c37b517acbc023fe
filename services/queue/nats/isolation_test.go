package nats

import (
	"testing"
)

func reach(t *testing.T, mine, theirs map[string]any) {}
