package objectstore

import (
	"encoding/json"

	"github.com/chandler-broker/chandler/services/access"
)

// RoleSuffix is the end of the name of an access key with the role.
func RoleSuffix(r access.Role) string {
	if r == access.ReadOnly {
		return "ro"
	}
	return "rw"
}

// The actions of bindings (Amazon S3 User Guide, "Actions, resources, and condition keys").
// Others, such as on policies and tags, are the administrator's.

// Reading are the actions of every binding.
func Reading() []string {
	return []string{"s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject", "s3:GetObjectTagging"}
}

// Deleting are the further actions of a read-write binding that need no space.
func Deleting() []string {
	return []string{
		"s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts",
		"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:DeleteObjectTagging",
	}
}

// Writing are the further actions of a read-write binding that need space.
func Writing() []string { return []string{"s3:PutObject", "s3:PutObjectTagging"} }

// Statement is a statement of a bucket's policy.
type Statement struct {
	Effect       string
	Principal    *Principal `json:",omitempty"`
	NotPrincipal *Principal `json:",omitempty"`
	Action       []string
	Resource     []string
}

// Principal is who a statement is about.
type Principal struct{ AWS []string }

// PolicyText is the text of a policy, the same for the same statements.
func PolicyText(statements []Statement) ([]byte, error) {
	return json.Marshal(struct {
		Version   string
		Statement []Statement
	}{"2012-10-17", statements})
}
