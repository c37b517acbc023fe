package sandbox

import (
	"fmt"
	"os"
)

// Cached returns the hashes of all code that is kept compiled in the folder, those
// that other processes compiled included: what there is to Forget. The engine of
// JavaScript is not among it.
func (p *Pool) Cached() ([]string, error) {
	entries, err := os.ReadDir(p.options.Folder)
	if err != nil {
		return nil, fmt.Errorf("look at the folder of compiled code: %w", err)
	}
	var hashes []string
	for _, entry := range entries {
		if validHash(entry.Name()) && entry.Name() != engineHash {
			hashes = append(hashes, entry.Name())
		}
	}
	return hashes, nil
}
