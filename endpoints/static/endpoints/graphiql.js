"use strict";

const editor = document.getElementById("editor");

ReactDOM.render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: editor.dataset.url }),
    isHeadersEditorEnabled: true,
    shouldPersistHeaders: false, // a key does not belong in the browser's storage
    defaultEditorToolsVisibility: "headers",
    defaultHeaders: '{"Authorization": "Bearer YOUR KEY"}',
    defaultQuery: `# Put your key in the editor "Headers" below,
# in place of YOUR KEY. Then press the button above.

query {
  endpoints {
    totalCount
    collectionItems { id name type meta state }
  }
}
`,
  }),
  editor,
);
