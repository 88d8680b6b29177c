import type { Step } from './script.ts'

export const ping: Step = { name: 'ping', action: 'ping' }

/** What a phone sends when somebody opens a flow whose first screen comes from the endpoint (protocol.md 2.1). */
export const openFlow: Step = { name: 'open', action: 'INIT' }

/** One person's way through examples/personalised-offer, from opening it to SUCCESS. Invented contact data. */
export const personalisedOffer: readonly Step[] = [
  { ...openFlow, expectation: { screen: 'PRODUCT_SELECTOR' } },
  {
    name: 'choose a product',
    action: 'data_exchange',
    screen: 'PRODUCT_SELECTOR',
    data: { product_selection: '{{open.data.products.0.id}}' },
    expectation: { screen: 'OPTIONS' },
  },
  {
    name: 'choose options',
    action: 'data_exchange',
    screen: 'OPTIONS',
    data: {
      selected_product: '{{choose a product.data.selected_product}}',
      brand: '{{choose a product.data.preferred_brands.0.id}}',
      uses: ['{{choose a product.data.phone_uses.1.id}}'],
      sim: '{{choose a product.data.phone_sim.0.id}}',
      budget: '{{choose a product.data.preferred_budget.2.id}}',
    },
    expectation: { screen: 'OFFER' },
  },
  {
    name: 'choose a device',
    action: 'data_exchange',
    screen: 'OFFER',
    data: {
      selected_product: '{{choose options.data.selected_product}}',
      device: '{{choose options.data.shortlisted_devices.0.id}}',
    },
    expectation: { screen: 'PRODUCT_DETAIL' },
  },
  {
    name: 'leave details',
    action: 'data_exchange',
    screen: 'PRODUCT_DETAIL',
    data: {
      selected_device: '{{choose a device.data.selected_device}}',
      name: 'Test Customer',
      email: 'customer@example.com',
    },
    expectation: { screen: 'SUMMARY' },
  },
  {
    name: 'confirm',
    action: 'data_exchange',
    screen: 'SUMMARY',
    data: {
      selected_device: '{{leave details.data.selected_device}}',
      name: '{{leave details.data.name}}',
      email: '{{leave details.data.email}}',
    },
    expectation: { screen: 'SUCCESS' },
  },
]
