package rgw

import (
	"slices"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// policy is the policy of an instance's bucket. It names users and no keys, and so is the same
// for all bindings. Objects belong to the user that wrote them, who could share them: so nobody
// else is let in, whatever their rights say.
func (n namer) policy(instance string) ([]byte, error) {
	bucket := "arn:aws:s3:::" + n.bucketOf(instance)
	resources := []string{bucket, bucket + "/*"}
	readWrite, readOnly := n.arn(instance, access.ReadWrite), n.arn(instance, access.ReadOnly)
	users := func(names ...string) *objectstore.Principal { return &objectstore.Principal{AWS: names} }
	return objectstore.PolicyText([]objectstore.Statement{
		{Effect: "Allow", Principal: users(readWrite, readOnly), Action: objectstore.Reading(), Resource: resources},
		{Effect: "Allow", Principal: users(readWrite), Action: slices.Concat(objectstore.Deleting(), objectstore.Writing()), Resource: resources},
		{Effect: "Deny", Principal: users(readWrite, readOnly), Action: []string{"s3:PutObjectAcl", "s3:PutObjectVersionAcl"}, Resource: resources},
		{Effect: "Deny", NotPrincipal: users(n.userARN(instance, owner), readWrite, readOnly), Action: []string{"s3:*"}, Resource: resources},
	})
}

func (n namer) arn(instance string, role access.Role) string {
	return n.userARN(instance, objectstore.RoleSuffix(role))
}

func (n namer) userARN(instance, user string) string {
	return "arn:aws:iam::" + n.tenant(instance) + ":user/" + user
}
