package forum_test

import (
	"errors"

	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// catalogOf is the shipped catalog for some backends, as an operator completes it
// whose gateway has its buckets in a folder of this machine: functions may mount
// them.
func catalogOf(backends []string, buckets string) ([]byte, error) {
	shipped, err := rig.ShippedCatalog(backends...)
	if err != nil {
		return nil, err
	}
	var document struct {
		Backends map[string]map[string]any `yaml:"backends"`
		Services []any                     `yaml:"services"`
	}
	if err := yaml.Unmarshal(shipped, &document); err != nil {
		return nil, err
	}
	config, ok := document.Backends["s3"]["config"].(map[string]any)
	if !ok {
		return nil, errors.New("the shipped catalog has no configuration of backend s3")
	}
	config["shared_folder"] = buckets
	return yaml.Marshal(document)
}
