// Package chandler holds what the binary carries of the repository's top level.
package chandler

import _ "embed"

//go:embed catalog.yml
var catalogYAML []byte

// CatalogYAML returns the shipped catalog.yml.
func CatalogYAML() []byte { return append([]byte{}, catalogYAML...) }
