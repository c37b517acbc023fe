package smb

import "testing"

func reach(t *testing.T, server *testServer, mine, theirs map[string]any) {
	t.Helper()
}
