// Command azidentity is a program with an Azure SDK, unchanged: it asks
// DefaultAzureCredential for a token, twice, and prints both.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

func main() {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	for range 2 {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		t, failed := cred.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{os.Args[1]}})
		if err = failed; err == nil {
			fmt.Println(t.Token, t.ExpiresOn.Unix())
		}
	}
}
