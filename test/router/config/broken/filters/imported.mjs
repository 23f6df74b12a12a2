// The mistake is in a file that the module imports.
export const limit = 10 20;
