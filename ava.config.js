/** AVA runs the compiled tests; each file of C, child-process or addon tests is a process of its own. */
export default {
  files: (process.env.MLSHIM_TESTS ?? 'build/test/**/*.test.js').split(' '),
  workerThreads: false,
  timeout: '10m',
  concurrency: 2,
};
